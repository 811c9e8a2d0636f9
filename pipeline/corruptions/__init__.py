"""The laws of noise, one a file: pure functions of clean pixels, strengths and generators."""
