"""What everything else speaks of: records, links, metrics and the experiment's description."""
