"""The models of the zoo: listing, downloading and loading them."""
