"""OpenEXR files in and out."""
