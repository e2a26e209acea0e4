"""Pages to look at: the atlas of the derivations, and a run as it goes on."""
