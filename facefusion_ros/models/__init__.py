"""Models: what each network expects and returns, its licence, and the files a user has brought."""
