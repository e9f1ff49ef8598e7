// nodemailer with a pool; nunjucks renders the same Jinja2 templates.
import fs from "node:fs";
import path from "node:path";
import nodemailer from "nodemailer";
import nunjucks from "nunjucks";
import { parse } from "csv-parse/sync";

const [folder, port, caFile, count, connections] = process.argv.slice(2);
const environment = new nunjucks.Environment(new nunjucks.FileSystemLoader(folder), { autoescape: true });
const html = environment.getTemplate("newsletter.html.j2", true);
const text = environment.getTemplate("newsletter.txt.j2", true);
const image = fs.readFileSync(path.join(folder, "logo.png"));
const rows = parse(fs.readFileSync(path.join(folder, "people.csv")), { columns: true }).slice(0, Number(count));
const variables = JSON.parse(fs.readFileSync(path.join(folder, "variables.json")));

const started = process.hrtime.bigint();
const usage = process.cpuUsage();
const transport = nodemailer.createTransport({
  host: "127.0.0.1", port: Number(port), secure: true, pool: true,
  maxConnections: Number(connections), maxMessages: Infinity,
  auth: { user: "user", pass: "password" },
  tls: { ca: fs.readFileSync(caFile), servername: "localhost" },
});
let next = 0, sent = 0;
async function worker() {
  while (next < rows.length) {
    const row = rows[next++];
    const values = { ...variables, ...row };
    await transport.sendMail({
      from: { name: "Example News", address: "news@example.com" },
      to: { name: row.name, address: row.email },
      subject: `Example: news for ${row.name}`,
      text: text.render(values), html: html.render(values),
      attachments: [{ filename: "logo.png", content: image, cid: "logo" }],
    });
    sent++;
  }
}
await Promise.all(Array.from({ length: Number(connections) * 2 }, worker));
transport.close();
const cpu = process.cpuUsage(usage);
console.log(JSON.stringify({
  messages: sent, seconds: Number(process.hrtime.bigint() - started) / 1e9,
  cpu: (cpu.user + cpu.system) / 1e6, peak: process.resourceUsage().maxRSS,
}));
