"""From a recipient to a message: `compile_campaign(campaign).render(recipient)`."""
