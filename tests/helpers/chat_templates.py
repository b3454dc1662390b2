"""Chat templates as real models have them, in contexts with a tokenizer that has their special tokens."""

from centaurlab.data.transcripts import Transcript
from centaurlab.prompts.templates import TemplateContext
from helpers.tiny_models import byte_level_bpe

SPECIAL = ["<pad>", "<|eot_id|>", "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|im_start|>"]
SPECIAL += ["<|im_end|>", "<start_of_turn>", "<end_of_turn>", "<bos>"]

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
CHATML_SYSTEM = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful AI assistant.<|im_end|>\n' }}{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA_3 = (
    "{{- bos_token }}{%- if not date_string is defined %}{%- if strftime_now is defined %}"
    "{%- set date_string = strftime_now('%d %b %Y') %}{%- else %}{%- set date_string = '26 Jul 2024' %}{%- endif %}"
    "{%- endif %}{{- '<|start_header_id|>system<|end_header_id|>\n\n' }}"
    "{{- 'Cutting Knowledge Date: December 2023\nToday Date: ' + date_string + '\n\n<|eot_id|>' }}"
    "{%- for message in messages %}"
    "{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' }}"
    "{{- message['content'] | trim + '<|eot_id|>' }}"
    "{%- endfor %}{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{%- endif %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}"
    "{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% set role = 'model' if message['role'] == 'assistant' else message['role'] %}"
    "{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}"
)
QWEN_3 = (
    "{%- set ns = namespace(last=-1) %}"
    "{%- for message in messages %}{%- if message.role == 'user' %}{%- set ns.last = loop.index0 %}{%- endif %}"
    "{%- endfor %}{%- for message in messages %}{%- set content = message.content %}"
    "{%- if message.role == 'user' %}{{- '<|im_start|>user\n' + content + '<|im_end|>\n' }}{%- else %}"
    "{%- set reasoning = '' %}{%- if '</think>' in content %}"
    "{%- set reasoning = content.split('</think>')[0].split('<think>')[-1].strip('\n') %}"
    "{%- set content = content.split('</think>')[-1].lstrip('\n') %}{%- endif %}"
    "{%- if loop.index0 > ns.last %}"
    "{{- '<|im_start|>assistant\n<think>\n' + reasoning + '\n</think>\n\n' + content + '<|im_end|>\n' }}"
    "{%- else %}{{- '<|im_start|>assistant\n' + content + '<|im_end|>\n' }}{%- endif %}{%- endif %}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}"
    "{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\n\n</think>\n\n' }}{%- endif %}"
    "{%- endif %}"
)
TEMPLATES = {"ChatML": CHATML, "SmolLM2": CHATML_SYSTEM, "Llama 3": LLAMA_3, "Gemma": GEMMA, "Qwen 3": QWEN_3}
HEADERS = {
    "Llama 3": "<|start_header_id|>assistant<|end_header_id|>\n\n",
    "Gemma": "<start_of_turn>model\n",
}


def context(template: str) -> TemplateContext:
    """Sessions as conversations in a template."""
    tokenizer = byte_level_bpe(SPECIAL, bos="<|begin_of_text|>")
    tokenizer.chat_template = template
    return TemplateContext(tokenizer, template)


CONTEXTS = {name: context(template) for name, template in TEMPLATES.items()}
SESSION = "You see J and F.\nYou press <<J>> and win 3.\nYou press <<F>>, then <<J>>. Bye."


def told(text: str = SESSION, study: str = "alpha") -> Transcript:
    """A session of a file of people."""
    return Transcript(text, study, f"{study}/exp.csv", "7", origin="people.jsonl:3")
