"""Claims of the papers as data, the runs behind them, and a verdict on each claim."""
