"""What is deployed: the zoo's models and the user's own."""
