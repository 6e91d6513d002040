// Each stock SDK for Node sends what the test expects: node node.mjs URL SEGMENT_KEY RUDDER_KEY POSTHOG_KEY
import { createRequire } from "node:module";

const require = createRequire(`${process.cwd()}/`);
const { Analytics } = require("@segment/analytics-node");
const Rudder = require("@rudderstack/rudder-sdk-node");
const { PostHog } = require("posthog-node");

const [url, segmentKey, rudderKey, posthogKey] = process.argv.slice(2);
const failed = [];

const segment = new Analytics({ writeKey: segmentKey, host: url });
segment.on("error", (error) => failed.push(error));
segment.identify({ userId: "u1", traits: { email: "ann@node.test" } });
segment.track({ userId: "u1", event: "Order Completed", properties: { order_id: "1042", total: 5 } });
segment.alias({ userId: "u1", previousId: "old-1" });
segment.group({ userId: "u1", groupId: "acme", traits: { name: "Acme" } });
await segment.closeAndFlush();

const rudder = new (Rudder.default ?? Rudder)(rudderKey, { dataPlaneUrl: url });
rudder.identify({ userId: "u1", traits: { email: "ann@node.test" } });
rudder.track({ userId: "u1", event: "Product Viewed", properties: { product_id: "7" } });
await rudder.flush().catch((error) => failed.push(error));

const posthog = new PostHog(posthogKey, { host: url });
posthog.on("error", (error) => failed.push(error));
posthog.capture({ distinctId: "u1", event: "Order Completed", properties: { total: 5 } });
posthog.identify({ distinctId: "u1", properties: { email: "ann@node.test" } });
posthog.alias({ distinctId: "u1", alias: "old-1" });
posthog.groupIdentify({ groupType: "company", groupKey: "acme", properties: { name: "Acme" } });
await posthog.shutdown();

for (const error of failed) console.error(error);
process.exit(failed.length ? 1 : 0);
