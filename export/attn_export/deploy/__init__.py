"""From a bundle to what other machines and servers take."""
