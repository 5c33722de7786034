"""Run folders: the code that writes them and the code that reads them."""
