"""The models a user instantiates."""
