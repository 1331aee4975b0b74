"""Classes and scores for texts: GLUE, and tasks of the user's own."""
