"""Measured files of many formats → one DataSet."""

from training.data.readers.channels import ChannelInfo
from training.data.readers.files import SUFFIXES, list_channels, read_data

__all__ = ["SUFFIXES", "ChannelInfo", "list_channels", "read_data"]
