"""Measured files of many formats → one DataSet."""

from training.data.readers.channels import ChannelInfo
from training.data.readers.files import SUFFIXES, list_channels, read_data
from training.data.readers.movies import MovieFile, open_movie

__all__ = ["SUFFIXES", "ChannelInfo", "MovieFile", "list_channels", "open_movie", "read_data"]
