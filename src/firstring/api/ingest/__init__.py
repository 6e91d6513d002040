"""Events over HTTP, at the addresses and in the forms that the SDKs of others use."""
