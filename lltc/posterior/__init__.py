"""What is sampled: model, checkpoint, data, inverse temperature and localization."""
