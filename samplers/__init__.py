"""The algorithm: plan, schedule, guidance, denoising, streaming. Plain Python and torch, on protocols."""
