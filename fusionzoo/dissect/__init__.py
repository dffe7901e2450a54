"""The engine: model + probes + data -> metrics -> Dissection."""
