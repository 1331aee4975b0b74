"""What leaves the house: modules that run without this package."""
