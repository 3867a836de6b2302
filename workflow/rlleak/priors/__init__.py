"""What the attacker believes of images before it sees an update; never anything of a victim's."""
