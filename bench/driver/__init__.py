"""What a command does with a suite: ``planning`` prices it, ``run`` runs what is missing, ``progress`` shows it, ``reporting`` reports."""
