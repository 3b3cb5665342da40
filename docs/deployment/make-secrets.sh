#!/bin/sh
# Make the secrets of compose.yaml: ./make-secrets.sh [FOLDER]      (default: secrets, beside compose.yaml)
#
# Nothing that is there is written over: a lost LANGFLOW_SECRET_KEY is a lost credential of every user.
set -eu
umask 077
folder=${1:-"$(dirname "$0")/secrets"}
mkdir "$folder"
postgres=$(openssl rand -hex 24)
redis=$(openssl rand -hex 24)
rabbitmq=$(openssl rand -hex 24)

printf '%s' "$postgres" >"$folder/postgres_password"
printf 'requirepass %s\nsave ""\nappendonly no\n' "$redis" >"$folder/redis.conf"
printf 'default_user = keyturn\ndefault_pass = %s\n' "$rabbitmq" >"$folder/rabbitmq.conf"
cat >"$folder/keyturn.env" <<SETTINGS
LANGFLOW_SECRET_KEY=$(openssl rand -hex 32)
LANGFLOW_SUPERUSER=admin
LANGFLOW_SUPERUSER_PASSWORD=$(openssl rand -hex 12)
LANGFLOW_DATABASE_URL=postgresql://keyturn:$postgres@postgres:5432/keyturn
KEYTURN_REDIS_URL=redis://:$redis@redis:6379/0
KEYTURN_BROKER_URL=amqp://keyturn:$rabbitmq@rabbitmq:5672//
SETTINGS

# Each file for the user that reads it in its container; compose mounts files as they are.
if [ "$(id -u)" = 0 ]; then
  chown 10001 "$folder/keyturn.env"
  chown 999 "$folder/postgres_password" "$folder/redis.conf" "$folder/rabbitmq.conf"
fi
echo "made $folder: keep a copy of keyturn.env where your backups are not"
