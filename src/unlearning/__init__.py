"""Machine unlearning by DUCK and its competitors: data, models, methods, metrics, stages."""
