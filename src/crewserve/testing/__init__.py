"""Public test tools: builders, fakes and the contract that every store fulfils."""
