"""What follows a search: train, transfer, scale, fine-tune, compare and export what it found."""
