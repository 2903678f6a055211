"""The sources' experiments, made repeatable: `vaegan study NAME DATA`. One file a study; `catalogue` is the table."""
