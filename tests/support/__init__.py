"""What tests share: small models and graphs, bundles against each attack, fakes of devices and servers."""
