"""What is to be measured: the checked configuration, the plan of a run and what came of it."""
