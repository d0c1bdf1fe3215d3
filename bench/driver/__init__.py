"""What a command does with a suite: ``planning`` prices it, ``run`` runs what is missing, ``progress`` shows it, ``reporting`` reports.

And with what a suite has left: ``lookup`` finds and rebuilds a trained trial, ``adapting`` lets it adapt to a folder of pictures, which
``images`` reads and ``sheet`` shows.
"""
