// SPDX-License-Identifier: Apache-2.0
// One call through the official openai client. Argument: a JSON job {baseURL, model, kind: "chat" | "completions",
// stream, apiKey?, headers?}. Prints JSON: {text, usage, events: [{at: ms since the call, text}]}.
import OpenAI from 'openai';

const job = JSON.parse(process.argv[2]);
const client = new OpenAI({
    baseURL: job.baseURL,
    apiKey: job.apiKey ?? 'sk-of-the-client',
    defaultHeaders: job.headers,
    maxRetries: 0,
    timeout: 20000,
});

const began = performance.now();
const out = { text: '', usage: null, events: [] };
const common = { model: job.model, stream: job.stream };
const reply = job.kind === 'chat'
    ? await client.chat.completions.create({ ...common, messages: [{ role: 'user', content: 'Describe a canal lock' }] })
    : await client.completions.create({ ...common, prompt: 'Describe a canal lock' });

if (job.stream) {
    for await (const event of reply) {
        const choice = event.choices[0];
        const text = (job.kind === 'chat' ? choice?.delta?.content : choice?.text) ?? '';
        out.events.push({ at: performance.now() - began, text });
        out.text += text;
        out.usage = event.usage ?? out.usage;
    }
} else {
    out.text = job.kind === 'chat' ? reply.choices[0].message.content : reply.choices[0].text;
    out.usage = reply.usage;
}
console.log(JSON.stringify(out));
