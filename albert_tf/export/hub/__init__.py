"""Modules for TF-Hub."""
