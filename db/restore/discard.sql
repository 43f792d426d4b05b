-- Removes a database that the site does not use. Variables: name.
DROP DATABASE :"name";
