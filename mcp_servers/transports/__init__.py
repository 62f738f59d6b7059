"""The doors: in process, over the official client, stdio, HTTP. Nothing but the dispatch door stands behind them."""
