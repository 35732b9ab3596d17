"""The pages that people work with, one module each."""
