"""What a person sees of a run: figures and one HTML file, drawn from the run folder alone."""
