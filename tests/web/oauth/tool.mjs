// A tool's server as strangers would write it: with `oauth4webapi`, `jose` and
// `@sd-jwt/jwt-status-list`, each of which refuses what its specification forbids. It reads one
// command a line ({"do": …}) and answers each with a line: {"told": …} or {"error": …}.

import { createInterface } from "node:readline";
import { getListFromStatusListJWT } from "@sd-jwt/jwt-status-list";
import * as jose from "jose";
import * as oauth from "oauth4webapi";

const plain = { [oauth.allowInsecureRequests]: true }; // this machine's own address
let server, client, secret, callback, resource, asked, keys;

const commands = {
  async discover(given) {
    ({ secret, callback, resource } = given);
    client = { client_id: given.client_id };
    const issuer = new URL(given.issuer);
    const answer = await oauth.discoveryRequest(issuer, { algorithm: "oauth2", ...plain });
    server = await oauth.processDiscoveryResponse(issuer, answer);
    keys = jose.createRemoteJWKSet(new URL(server.jwks_uri));
    return server;
  },

  async own({ key, ...parameters }) {
    const signs = key && { key: await jose.importJWK(key, "ES256"), kid: key.kid };
    const shown = key ? oauth.PrivateKeyJwt(signs) : oauth.ClientSecretBasic(secret);
    const answer = await oauth.clientCredentialsGrantRequest(server, client, shown, parameters, plain);
    return oauth.processClientCredentialsResponse(server, client, answer);
  },

  async ask({ details }) {
    asked = { verifier: oauth.generateRandomCodeVerifier(), state: oauth.generateRandomState() };
    const url = new URL(server.authorization_endpoint);
    url.search = new URLSearchParams({
      response_type: "code",
      client_id: client.client_id,
      redirect_uri: callback,
      state: asked.state,
      code_challenge: await oauth.calculatePKCECodeChallenge(asked.verifier),
      code_challenge_method: "S256",
      resource,
      authorization_details: JSON.stringify([details]),
    });
    return url.href;
  },

  async finish({ address }) {
    const parameters = oauth.validateAuthResponse(server, client, new URL(address), asked.state);
    const answer = await oauth.authorizationCodeGrantRequest(
      server, client, oauth.ClientSecretBasic(secret), parameters, callback, asked.verifier, plain,
    );
    return oauth.processAuthorizationCodeResponse(server, client, answer);
  },

  async validate({ token }) {
    const request = new Request(resource, { headers: { authorization: `Bearer ${token}` } });
    return oauth.validateJwtAccessToken(server, request, resource, plain);
  },

  async introspect({ token }) {
    const shown = oauth.ClientSecretBasic(secret);
    const answer = await oauth.introspectionRequest(server, client, shown, token, plain);
    return oauth.processIntrospectionResponse(server, client, answer);
  },

  async revoke({ token }) {
    const shown = oauth.ClientSecretBasic(secret);
    const answer = await oauth.revocationRequest(server, client, shown, token, plain);
    await oauth.processRevocationResponse(answer);
    return "revoked";
  },

  async status({ token }) {
    const { idx, uri } = jose.decodeJwt(token).status.status_list;
    const answer = await fetch(uri, { headers: { accept: "application/statuslist+jwt" } });
    const list = await answer.text();
    const { payload } = await jose.jwtVerify(list, keys, { typ: "statuslist+jwt", subject: uri });
    const aggregated = await (await fetch(server.status_list_aggregation_endpoint)).json();
    return {
      type: answer.headers.get("content-type"),
      ttl: payload.ttl,
      lives: payload.exp - payload.iat,
      known: aggregated.status_lists.includes(uri),
      value: getListFromStatusListJWT(list).getStatus(idx),
    };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { do: name, ...given } = JSON.parse(line);
  try {
    console.log(JSON.stringify({ told: await commands[name](given) }));
  } catch (error) {
    console.log(JSON.stringify({ error: error.error ?? String(error.status ?? error) }));
  }
}
