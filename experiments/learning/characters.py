"""-|characters of the answer - TARGET| / 10: characters.py TARGET, as a reward of kind: command. The optimum is 0."""
import json
import sys

for line in sys.stdin:
    print(-abs(len(json.loads(line)["answer"].strip()) - int(sys.argv[1])) / 10)
