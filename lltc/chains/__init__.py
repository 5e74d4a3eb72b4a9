"""How the posterior is sampled: gradients, curvature, warm-up, the loop of steps, looks at the chains."""
