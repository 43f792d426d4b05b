-- The restored database takes the place of the site's, which stays as "replaced". In one transaction. Variables: live, restored.
ALTER DATABASE :"live" RENAME TO replaced;
ALTER DATABASE :"restored" RENAME TO :"live";
