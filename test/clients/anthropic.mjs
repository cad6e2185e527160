// SPDX-License-Identifier: Apache-2.0
// One call through the official Anthropic client. Argument: a JSON job {baseURL, model, stream, apiKey?, headers?}.
// Prints JSON: {text, usage, events: [{at: ms since the call, type}]}.
import Anthropic from '@anthropic-ai/sdk';

const job = JSON.parse(process.argv[2]);
const client = new Anthropic({
    baseURL: job.baseURL,
    apiKey: job.apiKey ?? 'sk-of-the-client',
    defaultHeaders: job.headers,
    maxRetries: 0,
    timeout: 20000,
});

const began = performance.now();
const out = { text: '', usage: null, events: [] };
const reply = await client.messages.create({
    model: job.model,
    max_tokens: 64,
    stream: job.stream,
    messages: [{ role: 'user', content: 'Describe a canal lock' }],
});

if (job.stream) {
    for await (const event of reply) {
        out.events.push({ at: performance.now() - began, type: event.type });
        if (event.type === 'content_block_delta')
            out.text += event.delta.text ?? '';
        out.usage = event.usage ?? out.usage;
    }
} else {
    out.text = reply.content.map((block) => block.text ?? '').join('');
    out.usage = reply.usage;
}
console.log(JSON.stringify(out));
