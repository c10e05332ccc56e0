"""The algorithm: plan, schedule, guidance, denoising, streaming; torch on protocols."""
