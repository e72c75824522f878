"""Serving: bundles in, answers out. No torch, no gpytorch, ever."""
