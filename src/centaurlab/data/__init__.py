"""Hub, files, archives and the starter set into validated transcripts; who is held out."""
