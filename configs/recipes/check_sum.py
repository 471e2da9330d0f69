"""1 where an answer is the sum that its prompt ends with ("… 4 + 9 ="), else 0: the reward of grpo_sums.yaml."""
import json
import re
import sys

for line in sys.stdin:
    sample = json.loads(line)
    a, b = re.findall(r"\d+", sample["prompt"])[-2:]
    print(1.0 if sample["answer"].strip() == str(int(a) + int(b)) else 0.0)
