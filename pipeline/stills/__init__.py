"""Files of pictures to be denoised, of any kind, and the same files again with other pixels."""
