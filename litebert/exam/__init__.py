"""Public data sets and a model to a table of marks: fine-tuned, judged, and set beside other systems."""
