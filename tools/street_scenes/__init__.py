"""How a street scene is planned, painted and photographed; what `make_street_scenes` draws with."""
