"""What all rivals do: load a row, change a column."""
