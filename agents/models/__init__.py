"""The tiny embedded policy, built and saved as an ordinary Hugging Face directory."""
