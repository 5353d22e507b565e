"""Go on in Python with a search that the command line made, then on the command line with a larger budget."""

import subprocess
import sys

import nas

COMMAND = [sys.executable, "-m", "nas"]
FLAGS = "--space nb201 --width 4 --depth 1 --epochs 1 --train-images 300 --baseline none --final-seeds 0"
subprocess.run([*COMMAND, "search", "--name", "mine", "--trials", "3", *FLAGS.split()], check=True)
study = nas.load_study("results/mine")
study.run(trials=5)
print(len(study.trials), study.best.reward)
subprocess.run([*COMMAND, "resume", "mine", "--trials", "6"], check=True)
